"""The providers whose callbacks, and answers, are understood."""

from .generic import Generic
from .sms_activate import DaisySms, GrizzlySms, HeroSms, SmsActivate, SmsBower, SmsOnline
from .smspins import SmsPins
from .tellabot import TellABot

PROVIDERS = (
    TellABot,
    HeroSms,
    SmsActivate,
    SmsBower,
    SmsOnline,
    DaisySms,
    GrizzlySms,
    SmsPins,
    Generic,
)

__all__ = [
    "PROVIDERS",
    "DaisySms",
    "Generic",
    "GrizzlySms",
    "HeroSms",
    "SmsActivate",
    "SmsBower",
    "SmsOnline",
    "SmsPins",
    "TellABot",
]
