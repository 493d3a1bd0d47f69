"""Which model runs. What is wrong with it is told before any work; what only its weights tell, after."""

from fv2v.checkpoints import NO_WEIGHTS, Weights, find, shipped
from fv2v.config import ModelConfig
from fv2v.devices import find_device, find_dtype
from fv2v.presets import PRESETS
from fv2v.presets import preset as find_preset
from fv2v.reenactor import Reenactor


def check_model(
    reenactor: Reenactor | None,
    preset: str | ModelConfig | None,
    weights: Weights | None,
    device: str | None,
    dtype: str,
    *,
    by_coefficients: bool | None = False,
) -> None:
    """What is wrong with these is told before faces are sought. Arguments as `check_drive`."""
    if reenactor is not None:
        if weights is not None or preset is not None:
            raise ValueError("expected a reenactor, or a preset and weights, got both")
        check_drive(reenactor.config, by_coefficients)
        return
    config = find_preset(preset) if isinstance(preset, str) else preset
    if config is not None:
        check_drive(config, by_coefficients)
    if weights is None and by_coefficients:
        raise ValueError(NO_WEIGHTS)
    if weights is None:
        shipped(config)
    elif weights != "random":
        find(weights, config)
    find_dtype(dtype)
    find_device(device)


def check_drive(config: ModelConfig, by_coefficients: bool | None) -> None:
    """Whether the preset is driven by what there is: coefficients, or pictures. None: motion, as all are."""
    if by_coefficients and not config.head.window:
        able = ", ".join(name for name, preset in PRESETS.items() if preset.head.window)
        raise ValueError(f"{config.name!r} is driven by pictures: expected fv2v reenact, or one of {able}")
    if config.head.window and by_coefficients is False:
        raise ValueError(f"{config.name!r} is driven by 3DMM coefficients, no pictures: expected fv2v talk")


def load_model(
    preset: str | ModelConfig | None,
    weights: Weights | None,
    device: str | None,
    dtype: str,
    *,
    by_coefficients: bool | None = False,
) -> Reenactor:
    """The weights, looked at once more: without a preset only their file tells what drives them."""
    reenactor = Reenactor(preset, weights=weights, device=device, dtype=dtype)
    check_drive(reenactor.config, by_coefficients)
    return reenactor
