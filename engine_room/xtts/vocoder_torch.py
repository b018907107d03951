"""The vocoder's network in torch, for a window of frames: each layer computes what is heard, and no more.

It is the library's HiFi-GAN with the same layers. But that pads with zeros at both ends of each layer, and
only a sentence's own ends are so: where a window has context instead, layers are not padded, and each leaves
as many steps of context as those after it see. Its form is one that ONNX Runtime computes fast, too: layers
over two dimensions, the first of size 1, for its quickest kernels (a tenth faster) are for those only.
"""

from typing import Any

import torch
from torch.nn import functional

SLOPE = 0.1  # of the leaky ReLUs, as the library has it; the last one has torch's default


class WindowedVocoder(torch.nn.Module):
    """The network around the library's `HifiganGenerator`, without its weight norm."""

    def __init__(self, generator: Any) -> None:
        super().__init__()
        self._generator = generator
        # Steps of context on each side that are needed after each stage, and before all of them.
        self._num_after: list[int] = []
        num_steps = _reach(generator.conv_post)
        for up, blocks in reversed(self._stages()):
            self._num_after.insert(0, num_steps)
            num_steps = _num_before_up(up, num_steps + max(_reach_of_block(b) for b in blocks))
        self.num_context_frames = num_steps + _reach(generator.conv_pre)

    def forward(self, frames: Any, speaker: Any, context: Any) -> Any:
        """Frames (1, channels, frames), a speaker (1, 512, 1), and of either end 1 where it is context of
        `num_context_frames`, 0 where it is the sentence's, int64 (2,); to samples of all frames but context.
        """
        generator = self._generator
        speaker = speaker[:, :, None]
        x = _convolved(generator.conv_pre, frames[:, :, None], context)
        x = x + _convolved(generator.cond_layer, speaker, context)
        num_steps = self.num_context_frames - _reach(generator.conv_pre)
        for i, (up, blocks) in enumerate(self._stages()):
            x = _stretched(up, functional.leaky_relu(x, SLOPE))
            num_steps *= up.stride[0]
            if generator.cond_in_each_up_layer:
                x = x + _convolved(generator.conds[i], speaker, context)
            spare = num_steps - self._num_after[i]
            first, *others = [
                _through(block, _cut(x, spare - _reach_of_block(block), context), context)
                for block in blocks
            ]
            x = sum(others, first) / len(blocks)
            num_steps = self._num_after[i]
        x = _convolved(generator.conv_post, functional.leaky_relu(x), context)
        return torch.tanh(x).flatten()

    def _stages(self) -> list[tuple[Any, list[Any]]]:
        """Of each stage the layer that stretches and the residual blocks, whose mean it is."""
        num, blocks = self._generator.num_kernels, list(self._generator.resblocks)
        return [(up, blocks[i * num : (i + 1) * num]) for i, up in enumerate(self._generator.ups)]


def _reach(layer: Any) -> int:
    """How many steps a convolution sees on each side."""
    reach: int = layer.dilation[0] * (layer.kernel_size[0] - 1) // 2
    return reach


def _reach_of_block(block: Any) -> int:
    return sum(_reach(layer) for layer in [*block.convs1, *block.convs2])


def _num_before_up(layer: Any, num_steps: int) -> int:
    """How many steps on each side a stretching layer makes so many of."""
    num_before: int = (num_steps + layer.kernel_size[0] - 1 - layer.padding[0]) // layer.stride[0]
    return num_before


def _cut(x: Any, num_steps: int, context: Any) -> Any:
    """So many steps less on each side that is context."""
    return x[..., context[0] * num_steps : x.shape[3] - context[1] * num_steps]


def _convolved(layer: Any, x: Any, context: Any) -> Any:
    if reach := _reach(layer):
        x = functional.pad(x, [(1 - context[0]) * reach, (1 - context[1]) * reach])
    weight = layer.weight[:, :, None]
    return functional.conv2d(x, weight, layer.bias, dilation=(1, layer.dilation[0]))


def _stretched(layer: Any, x: Any) -> Any:
    weight, stride, padding = layer.weight[:, :, None], (1, layer.stride[0]), (0, layer.padding[0])
    return functional.conv_transpose2d(x, weight, layer.bias, stride, padding)


def _through(block: Any, x: Any, context: Any) -> Any:
    """A residual block."""
    for first, second in zip(block.convs1, block.convs2, strict=True):
        y = _convolved(first, functional.leaky_relu(x, SLOPE), context)
        y = _convolved(second, functional.leaky_relu(y, SLOPE), context)
        x = y + _cut(x, _reach(first) + _reach(second), context)
    return x
