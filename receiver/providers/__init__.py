"""The providers whose callbacks are understood."""

from .sms_activate import DaisySms, HeroSms, SmsActivate, SmsBower, SmsOnline
from .tellabot import TellABot

PROVIDERS = (TellABot, HeroSms, SmsActivate, SmsBower, SmsOnline, DaisySms)

__all__ = [
    "PROVIDERS",
    "DaisySms",
    "HeroSms",
    "SmsActivate",
    "SmsBower",
    "SmsOnline",
    "TellABot",
]
