"""The countries that the simulated shop sells to, and what people and places are called there."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final


@dataclass(frozen=True, slots=True)
class Country:
    """A market.

    Args:
        code: ISO 3166-1, two letters.
        share: of all customers, in percent.
        currency: ISO 4217.
        rate: units of the currency for one euro.
        utc_offset: hours, for the rhythm of the day.
        networks: first halves of IPv4 addresses.
        cities, first_names, last_names: to draw from.
    """

    code: str
    share: int
    currency: str
    rate: Decimal
    utc_offset: int
    networks: tuple[str, ...]
    cities: tuple[str, ...]
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]


def _country(code: str, *, share: int, currency: str, rate: str, utc_offset: int, networks: str, names: str) -> Country:
    cities, first_names, last_names = names.split("\n\n")
    return Country(
        code,
        share,
        currency,
        Decimal(rate),
        utc_offset,
        tuple(networks.split()),
        tuple(city.strip() for city in cities.split(",")),
        tuple(first_names.split()),
        tuple(last_names.split()),
    )


COUNTRIES: Final[dict[str, Country]] = {
    country.code: country
    for country in (
        _country(
            "FR",
            share=30,
            currency="EUR",
            rate="1",
            utc_offset=1,
            networks="78.192 82.64 86.200 90.12 92.168 176.128",
            names="""
            Paris, Lyon, Marseille, Toulouse, Nantes, Lille, Bordeaux, Strasbourg, Rennes, Nice

            Camille Léa Manon Chloé Inès Jade Louise Zoé Juliette Aïcha Hugo Louis Gabriel Arthur Jules
            Théo Raphaël Mathis Noé Mehdi

            Martin Bernard Dubois Thomas Robert Petit Durand Leroy Moreau Simon Lefèvre Mercier Bouchard
            Gauthier Benali Fournier Girard Rousseau Chevalier Noël
            """,
        ),
        _country(
            "DE",
            share=15,
            currency="EUR",
            rate="1",
            utc_offset=1,
            networks="79.192 84.128 87.160 91.0 93.192",
            names="""
            Berlin, Hamburg, München, Köln, Frankfurt, Stuttgart, Leipzig, Dresden

            Anna Lena Jürgen Lukas Mia Jonas Käthe Felix Sophie Emil Björn Greta Paul Marie Ben Elif
            Moritz Ida

            Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schäfer Koch Bauer Richter Yilmaz
            Krüger Vogt
            """,
        ),
        _country(
            "GB",
            share=14,
            currency="GBP",
            rate="0.86",
            utc_offset=0,
            networks="81.96 86.128 90.192 109.144",
            names="""
            London, Manchester, Birmingham, Leeds, Glasgow, Bristol, Liverpool, Edinburgh, Cardiff

            Oliver Amelia George Isla Harry Ava Noah Emily Jack Sophia Leo Grace Arthur Freya Priya Ella
            Mohammed

            Smith Jones Taylor Brown Williams Wilson Johnson Davies Patel Wright Walker Khan Thompson
            Evans O'Neill
            """,
        ),
        _country(
            "US",
            share=13,
            currency="USD",
            rate="1.09",
            utc_offset=-5,
            networks="24.0 68.32 71.192 73.128 98.208",
            names="""
            New York, Chicago, Boston, Atlanta, Miami, Philadelphia, Detroit, Charlotte

            James Mary Robert Linda Michael Emma David Olivia Daniel Ava Carlos Mia Ethan Harper Jamal
            Grace Zoe

            Smith Johnson Williams Brown Garcia Miller Davis Rodriguez Martinez Lopez Nguyen Lee Walker
            Young Carter
            """,
        ),
        _country(
            "ES",
            share=9,
            currency="EUR",
            rate="1",
            utc_offset=1,
            networks="79.144 80.24 83.32 88.0",
            names="""
            Madrid, Barcelona, Valencia, Sevilla, Zaragoza, Málaga, Bilbao

            Lucía Hugo Martina Mateo María Pablo Sofía Álvaro Paula Diego Carmen Iván Elena Adrián Nuria
            Javier

            García Fernández González Rodríguez López Martínez Sánchez Pérez Gómez Jiménez Ruiz Díaz
            Moreno Muñoz
            """,
        ),
        _country(
            "IT",
            share=9,
            currency="EUR",
            rate="1",
            utc_offset=1,
            networks="79.0 82.48 87.0 93.32 151.32",
            names="""
            Roma, Milano, Napoli, Torino, Bologna, Firenze, Palermo, Genova

            Sofia Leonardo Giulia Francesco Aurora Lorenzo Alice Matteo Giorgia Andrea Chiara Niccolò
            Elisa Marco Noè

            Rossi Russo Ferrari Esposito Bianchi Romano Colombo Ricci Marino Greco Bruno Gallo Conti
            Costa Nicolò
            """,
        ),
        _country(
            "PL",
            share=5,
            currency="PLN",
            rate="4.31",
            utc_offset=1,
            networks="83.0 89.64 178.36",
            names="""
            Warszawa, Kraków, Łódź, Wrocław, Poznań, Gdańsk

            Zuzanna Jan Julia Antoni Maja Jakub Zofia Szymon Hanna Łukasz Oliwia Michał Alicja Paweł

            Nowak Kowalski Wiśniewski Wójcik Kowalczyk Kamiński Lewandowski Zieliński Szymański Woźniak
            Dąbrowski
            """,
        ),
        _country(
            "CH",
            share=5,
            currency="CHF",
            rate="0.95",
            utc_offset=1,
            networks="77.56 85.0 178.192",
            names="""
            Zürich, Genève, Basel, Lausanne, Bern, Winterthur, Lugano

            Noah Mia Liam Emma Luca Elena Leon Lina Gian Nora Jérôme Anaïs Reto Urs Heidi

            Müller Meier Schmid Keller Weber Huber Favre Rochat Bernasconi Brunner Zürcher Frei Moser
            """,
        ),
    )
}

CURRENCIES: Final = frozenset(country.currency for country in COUNTRIES.values())
