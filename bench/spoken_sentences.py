"""Forty sentences with numbers, dates, money and abbreviations, and the words that are to be heard."""

# fmt: off
SENTENCES = {
    "The meeting is on March 15, 2024, at 3:30 p.m.":
        "the meeting is on march fifteenth twenty twenty four at three thirty p m",
    "It cost $3.5bn, or about €20 per person.":
        "it cost three point five billion dollars or about twenty euros per person",
    "Dr. Smith paid $5.99 for 12 eggs.":
        "doctor smith paid five dollars and ninety nine cents for twelve eggs",
    "The temperature fell to -5°C last night.":
        "the temperature fell to minus five degrees celsius last night",
    "About 5-10% of the 1,250 people agreed.":
        "about five to ten percent of the one thousand two hundred fifty people agreed",
    "Henry VIII was born in 1491.":
        "henry the eighth was born in fourteen ninety one",
    "World War II ended in 1945.":
        "world war two ended in nineteen forty five",
    "The train covers 300 km at 160 km/h.":
        "the train covers three hundred kilometers at one hundred sixty kilometers per hour",
    "He ran 100 m in 9.58 seconds.":
        "he ran one hundred meters in nine point five eight seconds",
    "She was the 21st of 150 guests.":
        "she was the twenty first of one hundred fifty guests",
    "The recipe needs 2 1/2 cups of sugar and 3/4 of a liter of milk.":
        "the recipe needs two and one half cups of sugar and three quarters of a liter of milk",
    "Call 555-123-4567 before 9 a.m.":
        "call five five five one two three four five six seven before nine a m",
    "The shop on Elm St. is open 24/7.":
        "the shop on elm street is open twenty four seven",
    "In the 1990s the price rose by 7.5%.":
        "in the nineteen nineties the price rose by seven point five percent",
    "Our office is at 221 Baker Ave., near St. Paul.":
        "our office is at two hundred twenty one baker avenue near saint paul",
    "The file has 16 MB and 1,024 lines.":
        "the file has sixteen megabytes and one thousand twenty four lines",
    "Version 2.0 comes out on 1 April 2025.":
        "version two point zero comes out on the first of april twenty twenty five",
    "Prof. Jones lives approx. 10 miles from here.":
        "professor jones lives approximately ten miles from here",
    "The NASA probe flew 4.2 billion miles.":
        "the nasa probe flew four point two billion miles",
    "He weighs 80 kg and is 1.85 m tall.":
        "he weighs eighty kilograms and is one point eight five meters tall",
    "The talk lasts 1h30m, with a break of 15 min.":
        "the talk lasts one hour thirty minutes with a break of fifteen minutes",
    "Chapter IV begins on p. 112.":
        "chapter four begins on page one hundred twelve",
    "They met in the early 1800s, i.e. before the war.":
        "they met in the early eighteen hundreds i e before the war",
    "The screen shows 1920x1080 pixels.":
        "the screen shows nineteen twenty by ten eighty pixels",
    "Send it to the Dept. of Health by Nov. 30.":
        "send it to the department of health by november thirtieth",
    "The company sold 2.5 million cars in 2019.":
        "the company sold two point five million cars in twenty nineteen",
    "Her flight leaves at 18:45 from gate 7.":
        "her flight leaves at eighteen forty five from gate seven",
    "It is 6 ft long and weighs 20 lbs.":
        "it is six feet long and weighs twenty pounds",
    "The score was 3-2 after 90 minutes.":
        "the score was three to two after ninety minutes",
    "Mr. and Mrs. Brown owe £1,200.":
        "mister and missus brown owe one thousand two hundred pounds",
    "Visit www.example.com for more.":
        "visit example dot com for more",
    "The vote was 52% vs. 48%.":
        "the vote was fifty two percent versus forty eight percent",
    "On 2024-12-31 the offer ends.":
        "on december thirty first twenty twenty four the offer ends",
    "They took a loan of $250,000 over 30 years.":
        "they took a loan of two hundred fifty thousand dollars over thirty years",
    "The bus No. 42 comes every 20 min.":
        "the bus number forty two comes every twenty minutes",
    "The box is 30 cm wide and 15 cm deep.":
        "the box is thirty centimeters wide and fifteen centimeters deep",
    "He was 1st in 2008 and 3rd in 2012.":
        "he was first in two thousand eight and third in twenty twelve",
    "The car has 150 hp and goes from 0 to 100 in 8 seconds.":
        "the car has one hundred fifty horsepower and goes from zero to one hundred in eight seconds",
    "Some of the 48 states, e.g. Ohio, said no.":
        "some of the forty eight states e g ohio said no",
    "The clock stopped at 12:00 on Jan. 1, 2000.":
        "the clock stopped at twelve o'clock on january first two thousand",
}
# fmt: on
