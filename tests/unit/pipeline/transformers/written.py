# SPDX-License-Identifier: Apache-2.0
"""Transformers as an operator writes them, and samples for them."""

from functools import cache

from ceilo_agent import plugins
from ceilo_agent.definition import document
from ceilo_agent.definition.reader import Reader
from ceilo_agent.definition.settings import read_settings
from ceilo_agent.errors import ConfigError
from ceilo_agent.sample import UNTRACKED, Meter, Previous, Resource, Sample, SampleType

RESOURCE = Resource("vm-1", "project", "user", "instance", {"cpu_number": 2})


def transformer(name, parameters="{}"):
    """Return a new transformer with what stands under ``parameters:``, in YAML."""
    made, settings = read(name, parameters)
    return made(settings)


@cache
def read(name, parameters):
    """Return the class of a transformer and its parameters."""
    found = document.parse(parameters, "test")
    reader = Reader("test", found)
    made = plugins.load(plugins.TRANSFORMER, name)
    settings = read_settings(reader, made.Parameters, found.root, "parameter")
    if reader.faults:
        raise ConfigError(reader.faults)
    return made, settings


def refusal(name, parameters):
    """Return the only fault of these parameters, as it is shown."""
    try:
        transformer(name, parameters)
    except ConfigError as error:
        (fault,) = error.faults
        return str(fault)
    raise AssertionError(f"{name} takes {parameters}")


def counter(name, volume, at=0.0, previous=UNTRACKED, unit="B", **other):
    return sample(Meter(name, unit, SampleType.CUMULATIVE), volume, at, previous, **other)


def gauge(name, volume, at=0.0, previous=UNTRACKED, unit="B", **other):
    return sample(Meter(name, unit, SampleType.GAUGE), volume, at, previous, **other)


def sample(
    meter, volume, at=0.0, previous=UNTRACKED, resource=RESOURCE, started=None, source="guests"
):
    if isinstance(previous, tuple):
        previous = Previous(*previous)
    return Sample(meter, resource, at, volume, previous, started, source)


def volumes(samples):
    return [each.volume for each in samples]
