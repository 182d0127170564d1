"""What the sample school teaches: enough to look at, small enough to read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lesson:
    """One lesson."""

    title: str
    body: str


@dataclass(frozen=True)
class Course:
    """One course with its lessons in order."""

    slug: str
    title: str
    summary: str
    lessons: tuple[Lesson, ...]


COURSES: tuple[Course, ...] = (
    Course(
        "fractions",
        "Fractions without fear",
        "From slices of a cake to adding unlike parts.",
        (
            Lesson(
                "Equal parts",
                "A fraction counts equal parts: the lower number says how many make a whole, "
                "the upper one how many you have.",
            ),
            Lesson(
                "Same value, other name",
                "Multiplying both numbers by the same factor renames a fraction without changing "
                "it: 1/2 is 2/4 is 50/100.",
            ),
            Lesson(
                "Adding unlike parts",
                "Rename both fractions until their parts have one size, then add how many there "
                "are: 1/2 + 1/3 is 3/6 + 2/6, which makes 5/6.",
            ),
        ),
    ),
    Course(
        "night-sky",
        "Reading the night sky",
        "Find north, a planet and your first nebula with bare eyes.",
        (
            Lesson(
                "Finding north",
                "Follow the two outer stars of the Plough's bowl five times their distance: the "
                "star you meet stands over the north pole.",
            ),
            Lesson(
                "Star or planet",
                "Stars twinkle, planets hardly do: a planet is a small disc, and air has to bend "
                "all of it to make it flicker.",
            ),
            Lesson(
                "A cloud where stars are born",
                "Below Orion's belt hangs a sword; its middle star is fuzzy because it is a cloud "
                "of gas lit by the young stars inside.",
            ),
        ),
    ),
    Course(
        "bread",
        "Bread from four ingredients",
        "Flour, water, salt, yeast, and the patience between them.",
        (
            Lesson(
                "Weigh, don't scoop",
                "Bakers count in percent of the flour's weight: 65 % water gives a dough that "
                "holds its shape, 75 % one with larger holes.",
            ),
            Lesson(
                "Why we wait",
                "While the dough rests, yeast makes gas and the gluten relaxes; a cool night does "
                "slowly what a warm hour does fast, with more taste.",
            ),
            Lesson(
                "Steam and crust",
                "A wet oven keeps the skin soft while the loaf grows; once the steam is gone the "
                "crust dries, browns and crackles.",
            ),
        ),
    ),
    Course(
        "small-talk-spanish",
        "Spanish for small talk",
        "Greet, ask, thank and say goodbye.",
        (
            Lesson(
                "Hello", "Say `buenos días` until lunch, `buenas tardes` until dark, then `noches`."
            ),
            Lesson(
                "How are you",
                "`¿Qué tal?` among friends, `¿Cómo está usted?` with people you would not hug.",
            ),
            Lesson(
                "Thanks and farewell",
                "`Muchas gracias` is never too much; `hasta luego` fits always.",
            ),
        ),
    ),
)
