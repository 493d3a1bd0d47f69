"""Where to run: a device that exists, found before anything is loaded onto it."""

import torch


def find_device(name: str | torch.device | None = None) -> torch.device:
    """The device of that name; by default a GPU where there is one. Raises ValueError if it is not here."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"expected a device such as cpu, cuda or cuda:1, got {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        here = f"{torch.cuda.device_count()} of them" if torch.cuda.is_available() else "none"
        raise ValueError(f"expected a GPU that torch can use for device {name!r}, there is {here} here")
    return device
