"""The file that a speech request asks for: its format, sample rate and bit rate."""

from dataclasses import dataclass

from engine_room.encoding import FORMATS, Encoder, Sound, encode
from engine_room.errors import InvalidRequest, UnsupportedValue

# What an answer may be: sound at the usual rate, or with captions events or JSON.
ANSWER_TYPES = (
    *(form.media_type.format(rate_hz=24_000) for form in FORMATS.values()),
    "text/event-stream",
    "application/json",
)
RATES_HZ = (8_000, 96_000)  # of formats that have all


@dataclass(frozen=True, slots=True)
class Output:
    """One of FORMATS; a `bit_rate` in bits per second, None: the format's own."""

    format_name: str
    rate_hz: int
    bit_rate: int | None = None

    @property
    def media_type(self) -> str:
        """Its content type."""
        return FORMATS[self.format_name].media_type.format(rate_hz=self.rate_hz)

    def encoder(self, rate_hz: int) -> Encoder:
        """What makes it of blocks of sound with this rate."""
        return Encoder(self.format_name, rate_hz, self.rate_hz, self.bit_rate)

    def encode(self, sound: Sound) -> bytes:
        """A whole sound as this."""
        return encode(sound, self.format_name, self.rate_hz, self.bit_rate)


def checked_output(format_name: str, rate_hz: int, bit_rate: int | None) -> Output:
    """The output, if there is such a one. Raises UnsupportedValue, InvalidRequest."""
    if format_name not in FORMATS:
        raise UnsupportedValue("response_format", format_name, FORMATS)
    form = FORMATS[format_name]
    if form.rates_hz and rate_hz not in form.rates_hz:
        raise UnsupportedValue("sample_rate", rate_hz, map(str, form.rates_hz))
    least, most = RATES_HZ
    if not least <= rate_hz <= most:
        raise InvalidRequest(
            f"sample_rate {rate_hz} is not supported; {least} to {most} are.", param="sample_rate"
        )
    if bit_rate is not None:
        if form.bit_rates is None:
            raise InvalidRequest(
                f"{format_name} has no bitrate to choose; leave bitrate out, or ask for "
                f"{', '.join(name for name, other in FORMATS.items() if other.bit_rates)}.",
                param="bitrate",
            )
        least, most = form.bit_rates
        if not least <= bit_rate <= most:
            raise InvalidRequest(
                f"bitrate {bit_rate} is not supported; {format_name} has {least} to {most} bits per second.",
                param="bitrate",
            )
    return Output(format_name, rate_hz, bit_rate)
