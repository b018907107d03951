"""What the default voice would misread is written as it is said; what it reads well is left alone."""

import pytest

from engine_room.speech_english import written_out
from engine_room.speech_light import LightVoice, plain


@pytest.fixture(scope="module")
def light_voice() -> LightVoice:
    return LightVoice()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        # Addresses and files.
        (
            "At https://www.example.com/docs/a-b?x=1#top.",
            "At example dot com slash docs slash A dash B.",
        ),
        ("See example.co.uk/, or GitHub.io.", "See example dot co dot U K/, or GitHub dot I O."),
        (
            "Write to john.doe+x@example.org!",
            "Write to john dot doe plus X at example dot org!",
        ),
        ("Open file_name.py or README.md.", "Open file underscore name dot pie or readme dot M D."),
        ("in /usr/local/bin", "in slash usr slash local slash bin"),
        (r"C:\Users\me", "C colon backslash Users backslash me"),
        ("Ping 192.168.0.1:8080.", "Ping 192 dot 168 dot 0 dot 1, port 8080."),
        ("and/or he/she, e.g. this, i.e. that", "and/or he/she, e.g. this, i.e. that"),
        # Versions.
        ("v2.0.1 and Version 2.0", "version 2 point 0 point 1 and Version 2 point 0"),
        ("version v1.2, Python 3.11", "version 1 point 2, Python 3 point 11"),
        ("Ubuntu 22.04, 3.10.2-beta", "Ubuntu 22 point 0 4, 3 point 10 point 2-beta"),
        # Words and signs.
        ("C# and C++, 24/7, CO2, JSON", "C sharp and C++, twenty-four seven, C O 2, Jason"),
        ("on p. 5, ext. 12, tel.", "on page 5, extension 12, telephone."),
        (
            "a != b, x -> y, ≈5, ≤ 3",
            "a is not equal to b, x to y, about 5, less than or equal to 3",
        ),
        ("No. 7 on Nov. 30, vs. Ohio", "number 7 on November 30, versus Ohio"),
        ("states, e.g. Ohio, said no.", "states, e.g., Ohio, said no."),
        ("open Mon–Fri", "open Monday to Friday"),
        ("THIS IS VERY BAD FOR THE USA", "this is very bad for the USA"),
        ("the FBI, the CIA and NASA", "the FBI, the CIA and NASA"),
        # Money.
        (
            "$3.5bn, $1.5 million, €20k",
            "3.5 billion dollars, 1.5 million dollars, 20 thousand euros",
        ),
        (
            "$5.99, $0.99, $1, $1.01",
            "5 dollars and 99 cents, 99 cents, 1 dollar, 1 dollar and 1 cent",
        ),
        ("£1234.50 and ¥500", "1,234 pounds and 50 pence and 500 yen"),
        ("$5-10, $5–$10, £1-2 million", "5 to 10 dollars, 5 to 10 dollars, 1 to 2 million pounds"),
        ("-$5 and $-5", "minus 5 dollars and minus 5 dollars"),
        ("US$5, 20 EUR, USD 3", "5 U.S. dollars, 20 euros, 3 dollars"),
        ("a $100 bill, a $1.2M deal", "a 100 dollar bill, a 1.2 million dollar deal"),
        ("$10/month for 3 tbsp. of tea", "10 dollars per month for 3 tablespoons of tea"),
        ("$0.005", "0.005 dollars"),
        # Telephone numbers.
        ("Call 555-123-4567.", "Call 5 5 5, 1 2 3, 4 5 6 7."),
        ("(555) 123-4567", "5 5 5, 1 2 3, 4 5 6 7"),
        ("+1 555 123 4567", "plus 1, 5 5 5, 1 2 3, 4 5 6 7"),
        ("0800 123 456 or 1-800-555-0199", "0 8 0 0, 1 2 3, 4 5 6 or 1, 8 0 0, 5 5 5, 0 1 9 9"),
        ("Call 911 for the 911th time", "Call 9 1 1 for the 911th time"),
        # Dates, times, durations, decades.
        ("15.03.2024, 2024/3/5", "2024-03-15, 2024-03-05"),
        ("2024-03-15T14:30:00Z, 2024-03", "2024-03-15, 14:30, March 2024"),
        ("14h30, 10am-5pm", "14:30, 10 a.m. to 5 p.m."),
        (
            "1h30m, 2m 5s, 45s, 0.5 s, 2h",
            "1 hour 30 minutes, 2 minutes 5 seconds, 45 seconds, 0.5 seconds, 2 hours",
        ),
        ("in the 30s, the 1990s, the '90s", "in the 30s, the 1990s, the '90s"),
        # Numbers.
        ("pages 5–10, 5-10%, 1914-1918", "pages 5 to 10, 5 to 10%, 1914 to 1918"),
        ("a 10-year-old with COVID-19", "a 10-year-old with COVID-19"),
        ("-5 and it's −3, 7 − 2", "minus 5 and it's minus 3, 7 minus 2"),
        ("2½ or 2 1/2, 7/16", "2 and a half or 2 and 1/2, 7 sixteenths"),
        ("50/50, 20/20, 16:9", "50 50, 20 20, 16 to 9"),
        (
            "6.02e23 or 1.5E-3",
            "6.02 times 10 to the power of 23 or 1.5 times 10 to the power of minus 3",
        ),
        (
            "3×10⁻³, x², y^-2",
            "3 times 10 to the power of minus 3, x squared, y to the power of minus 2",
        ),
        (".5, 2.0, 1.000.000, 100 000", "0.5, 2 point 0, 1,000,000, 100,000"),
        ("1234 people in 1234", "1,234 people in 1234"),
        ("5M views, 2.5B, 7B parameters", "5 million views, 2.5 billion, 7 billion parameters"),
        ("agent 007, ~5", "agent 0 0 7, about 5"),
        ("1920x1080 pixels, 3 x 4, 3*4, 0x1F", "1920 by 1080 pixels, 3 by 4, 3 times 4, 0x1F"),
        # Units.
        (
            "5 m², 9.8 m/s², 1 g, 2L",
            "5 square meters, 9.8 meters per second squared, 1 gram, 2 liters",
        ),
        ("100W at 12V, 100 W 5th", "100 watts at 12 volts, 100 W 5th"),
        ('5\'11", 12" wide', "5 foot 11, 12 inches wide"),
        ("5 kg, -5°C, 60 mph", "5 kg, minus 5°C, 60 mph"),
        # Roman numerals.
        ("Henry VIII, Ludwig II", "Henry the eighth, Ludwig the second"),
        ("World War II, Rocky III", "World War 2, Rocky 3"),
        ("XIX century; I am, Malcolm X", "nineteenth century; I am, Malcolm X"),
    ],
)
def test_what_the_voice_would_misread_is_written_out(written: str, said: str) -> None:
    assert written_out(written) == said


@pytest.mark.parametrize(
    ("written", "in_words"),
    [
        ("$3.5bn in 2024", "three point five billion dollars in twenty twenty four"),
        ("€1.50", "one euro and fifty cents"),
        ("15.03.2024", "march fifteenth, twenty twenty four"),
        ("v2.0.1", "version two point zero point one"),
        ("5-10%", "five to ten percent"),
        ("1h30m", "one hour thirty minutes"),
        ("x² at -5°C", "x squared at minus five degrees Celsius"),
        ("10am-5pm", "ten a.m. to five p.m."),
        ("Henry VIII", "henry the eighth"),
    ],
)
def test_the_voice_then_says_it_as_its_words(
    light_voice: LightVoice, written: str, in_words: str
) -> None:
    """Told by the phonemes, their stresses aside; the rules themselves leave digits to the voice."""
    read = light_voice._g2p

    def sounds(text: str) -> str:
        return str(read(plain(text))).translate(dict.fromkeys(map(ord, "ˈˌ")))

    assert sounds(written_out(written)) == sounds(in_words)


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "1.",
        "1,",
        "1-",
        "$1 ",
        "/a",
        "A ",
        "A'",
        "123,",
        " 000",
        "½",
        "²",
        "1m",
        "://",
        "a@",
        "1/",
    ],
)
def test_a_long_text_takes_time_for_its_length_only(text: str) -> None:
    """Half a second each; where time grows with the square, minutes."""
    assert written_out(text * (60_000 // len(text)))


def test_lines_stay_lines() -> None:
    assert written_out("At 5\n- 3 m\n5 m\n") == "At 5\n- 3 meters\n5 meters\n"
