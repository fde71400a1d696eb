"""Simulated providers: what can be sent, asked and broken without an account or a number.

Written from the providers' own documents. State is in memory; clock, chance and the HTTP client
are arguments. `simulation.Simulation` puts one together, `app.create_app` serves it.
"""

from .dialect import DaisySms, GrizzlySms, HeroSms, SmsActivate, SmsBower, SmsOnline
from .provider import Simulated
from .smspins import SmsPins
from .tellabot import TellABot

#: Name of the provider, as a source's `provider` is written -> how it is simulated.
SIMULATED: dict[str, type[Simulated]] = {
    each.name: each
    for each in (
        TellABot,
        SmsActivate,
        HeroSms,
        SmsBower,
        SmsOnline,
        DaisySms,
        GrizzlySms,
        SmsPins,
    )
}
