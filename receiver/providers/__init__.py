"""The providers whose callbacks are understood."""

from .generic import Generic
from .sms_activate import DaisySms, HeroSms, SmsActivate, SmsBower, SmsOnline
from .tellabot import TellABot

PROVIDERS = (TellABot, HeroSms, SmsActivate, SmsBower, SmsOnline, DaisySms, Generic)

__all__ = [
    "PROVIDERS",
    "DaisySms",
    "Generic",
    "HeroSms",
    "SmsActivate",
    "SmsBower",
    "SmsOnline",
    "TellABot",
]
