"""The supported providers."""

from .generic import Generic
from .sms_activate.profiles import DaisySms, GrizzlySms, HeroSms, SmsActivate, SmsBower, SmsOnline
from .smspins import SmsPins
from .tellabot.callbacks import TellABot

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
