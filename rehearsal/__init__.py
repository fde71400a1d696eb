"""Simulated providers: what can be sent, asked and broken without an account or a number.

Written from the providers' own documents. State is in memory; clock, chance and the HTTP client
are arguments. `simulation.Simulation` puts one together, `app.create_app` serves it.
"""

from .providers.provider import Simulated
from .providers.sms_activate import (
    SimulatedDaisySms,
    SimulatedGrizzlySms,
    SimulatedHeroSms,
    SimulatedSmsActivate,
    SimulatedSmsBower,
    SimulatedSmsOnline,
)
from .providers.smspins import SimulatedSmsPins
from .providers.tellabot import SimulatedTellABot

#: Name of the provider, as a source's `provider` is written -> how it is simulated.
SIMULATED: dict[str, type[Simulated]] = {
    each.name: each
    for each in (
        SimulatedTellABot,
        SimulatedSmsActivate,
        SimulatedHeroSms,
        SimulatedSmsBower,
        SimulatedSmsOnline,
        SimulatedDaisySms,
        SimulatedGrizzlySms,
        SimulatedSmsPins,
    )
}
