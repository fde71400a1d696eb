"""The simulated providers, one module for each API."""

from ..provider import Simulated
from .sms_activate import (
    SimulatedDaisySms,
    SimulatedGrizzlySms,
    SimulatedHeroSms,
    SimulatedSmsActivate,
    SimulatedSmsBower,
    SimulatedSmsOnline,
)
from .smspins import SimulatedSmsPins
from .tellabot import SimulatedTellABot

#: The class of each simulated provider, by the value of a source's option `provider`.
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
