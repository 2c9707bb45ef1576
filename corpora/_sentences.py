"""Sentences from a small grammar: matter-of-fact ones, and moved ones that do not say by which emotion."""

from collections.abc import Mapping

import numpy as np

Grammar = Mapping[str, tuple[str, ...]]


def _read(text: str) -> Grammar:
    """Return the choices by symbol of lines `symbol: choice|choice`; a line that begins with `|` goes on."""
    lines = text.strip().replace("\n  |", "|").splitlines()
    return {symbol: tuple(choices.split("|")) for symbol, choices in (line.split(": ", 1) for line in lines)}


NEUTRAL = _read("""
start: {thing} {is_at} {place}{when}.|{please}{task} {when_task}.|{thing} {has} {detail}.
  |we usually {routine} {when_task}.|as far as I know, {thing} {is_at} {place}.
  |{count} of the {items} {are_at} {place}.|the {subject} {is_about} {topic}.|{when_lead} {thing} {is_at} {place}.
thing: the bus|the printer|the parcel|the meeting|the green folder|the spare key|the timetable|the delivery
  |the projector|the form|the invoice|the train|the new chair|the ladder
is_at: is at|goes to|stays in|was moved to|can be found near|will be in
are_at: are in|were sent to|belong in|are stored near
place: the second floor|room twelve|platform four|the front desk|the archive|the car park|the main entrance
  |the north building|the library|the kitchen|the storage room
when: | on Tuesday| at half past nine| this week| until noon| in the morning
when_task: on Thursday|before lunch|at ten o'clock|every two weeks|in the afternoon|by Friday
when_lead: on Wednesday|from nine to five|next month|at the end of the day|during the week
please: please |you can |remember to |someone should |
task: copy the list|water the plants|send the report|print two pages|update the address|return the books
  |fill in the form|check the meter|order more paper|close the window
routine: take the tram|buy bread|back up the files|clean the filter|read the minutes|sort the mail
  |measure the temperature|count the boxes
has: has|comes with|needs|is listed with
detail: four pages|a blue cover|two batteries|a serial number|three columns|a standard plug
count: two|three|six|about ten|most|half
items: boxes|chairs|letters|cables|folders|cups|tools
subject: lecture|second chapter|memo|article|course|leaflet
is_about: is about|describes|covers|mentions
topic: road maintenance|paper sizes|crop rotation|office hours|water pipes|bicycle lanes
""")

MOVED = _read("""
start: {cry} {cannot} {happened}!|{cry} I have never {felt} {depth} in my {life}!|{cry} {look} what {happened_to}!
  |my heart is {beating}, {cannot} {happened}.|{cry} {how} {could_it}?|{cry} I am {so} {moved}, I {body}.
  |nothing has ever {hit} me like {this}, I {body}!|I {body} and I {body_too}, all because of {this}.
cry: oh my God,|oh,|wow,|no, really,|heavens,|listen,|oh no,|my goodness,|dear me,
cannot: I cannot believe|I still cannot grasp|I just cannot take in|I would never have thought|I keep telling myself
  |I had to hear it twice:
happened: this is really happening|they did this to us|you said that to me|she came back after all|it is over
  |he told everyone|we are really leaving|they chose me|you are standing here|nobody will ever forget this
  |it was you all along|everything is different now
felt: felt|been|sat here|stood there
depth: so shaken|so overwhelmed|so alive|so small|so beside myself|so speechless
life: life|whole life|entire life
look: just look|see|did you see|do you see|you have to see
happened_to: has become of us|they have done|you have done to me|is happening|she gave me|he wrote to me
  |you made of my life|this has turned into
beating: pounding|racing|beating so hard|in my throat|about to burst
how: how on earth could|how could|tell me, how could|why, oh why, did
could_it: this happen to us|you do that for me|they keep it from me|she say such a thing|it change so suddenly
  |he stand there like that|you leave me speechless like this|we get here
so: so|so very|so deeply|completely|utterly
moved: shaken|moved|overwhelmed|stirred up|beside myself|lost for words
body: am trembling all over|have tears in my eyes|can hardly breathe|could scream|do not know what to do
  |feel it in my bones|cannot keep still|cannot sleep any more
body_too: am shaking|have lost my voice|have to sit down|cannot think straight|feel dizzy
hit: hit|struck|touched|shaken|gripped
this: this|that night|what you did|those words|this moment|your letter|her face|one call
""")


def write_sentence(rng: np.random.Generator, *, neutral: bool) -> str:
    """Return one English sentence of 4 to 20 words."""
    text = _expand("{start}", NEUTRAL if neutral else MOVED, rng)
    return text[0].upper() + text[1:]


def _expand(text: str, grammar: Grammar, rng: np.random.Generator) -> str:
    while "{" in text:
        before, _, rest = text.partition("{")
        symbol, _, after = rest.partition("}")
        choices = grammar[symbol]
        text = before + choices[rng.integers(len(choices))] + after
    return text
