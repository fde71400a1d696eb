"""The providers whose callbacks, and answers, are understood."""

from .generic import Generic
from .sms_activate import DaisySms, HeroSms, SmsActivate, SmsBower, SmsOnline
from .smspins import SmsPins
from .tellabot import TellABot

PROVIDERS = (TellABot, HeroSms, SmsActivate, SmsBower, SmsOnline, DaisySms, SmsPins, Generic)

__all__ = [
    "PROVIDERS",
    "DaisySms",
    "Generic",
    "HeroSms",
    "SmsActivate",
    "SmsBower",
    "SmsOnline",
    "SmsPins",
    "TellABot",
]
