"""The memory of devices is what llama.cpp says it is."""

import psutil

from engine_room.llama_devices import GPU, devices, free_gpu_bytes


def test_the_cpu_is_a_device_with_this_machines_memory() -> None:
    cpu = next(device for device in devices() if device.type == 0)
    total = psutil.virtual_memory().total
    assert cpu.name == "CPU"
    assert total / 2 < cpu.total_bytes <= total * 1.1
    assert 0 < cpu.free_bytes <= cpu.total_bytes


def test_what_is_free_on_gpus_is_that_of_gpus_alone() -> None:
    gpus = [device for device in devices() if device.type == GPU]
    assert free_gpu_bytes() == sum(gpu.free_bytes for gpu in gpus)
    assert (free_gpu_bytes() > 0) == bool(gpus)
