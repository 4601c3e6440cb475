"""The catalogue of the simulated shop: what can be bought."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Product:
    """A product.

    Args:
        id: for example `P0042`.
        name: as customers see it.
        category: one of eight.
        price: in euros.
    """

    id: str
    name: str
    category: str
    price: Decimal


# Name and price in euros, fifteen a category.
_SHELVES: Final[dict[str, str]] = {
    "electronics": """
        Wireless Earbuds 79.90|USB-C Hub 39.90|4K Monitor 27" 329.00|Mechanical Keyboard 119.00|
        Bluetooth Speaker 59.90|Smart Watch 199.00|Power Bank 20000 45.50|Noise-Cancelling Headphones 249.00|
        Webcam HD 64.90|Tablet 10" 279.00|E-Reader 129.90|Action Camera 219.00|Wi-Fi Router 99.00|
        External SSD 1 TB 109.00|Laptop Stand 34.90
    """,
    "fashion": """
        Linen Shirt 49.90|Slim Jeans 69.90|Wool Scarf 35.00|Leather Belt 39.90|Rain Jacket 119.00|
        Canvas Sneakers 64.90|Running Socks 3-Pack 14.90|Merino Sweater 89.00|Summer Dress 59.90|Silk Tie 44.00|
        Denim Jacket 84.90|Chelsea Boots 139.00|Cotton T-Shirt 19.90|Straw Hat 29.90|Travel Backpack 95.00
    """,
    "home": """
        Cast-Iron Pan 54.90|Espresso Machine 349.00|Bed Linen Set 79.00|Floor Lamp 89.90|Chef's Knife 64.00|
        Robot Vacuum 299.00|Throw Blanket 39.90|Glass Carafe 24.90|Storage Baskets 29.90|Wall Clock 34.50|
        Memory-Foam Pillow 49.00|Cutting Board 27.90|Air Purifier 159.00|Plant Pot Trio 32.00|
        Desk Organiser 22.90
    """,
    "beauty": """
        Vitamin C Serum 28.90|Day Cream SPF 30 24.50|Shampoo Bar 9.90|Electric Toothbrush 69.90|
        Hair Dryer 79.00|Lip Balm Duo 7.90|Eau de Parfum 50 ml 89.00|Clay Mask 16.90|Beard Oil 19.50|
        Nail Care Kit 21.90|Micellar Water 8.50|Hand Cream 6.90|Make-up Palette 34.90|Sunscreen SPF 50 18.90|
        Bath Salts 12.90
    """,
    "sports": """
        Yoga Mat 34.90|Adjustable Dumbbells 189.00|Trail Running Shoes 129.00|Cycling Helmet 69.00|
        Water Bottle 750 ml 17.90|Resistance Bands 22.50|Tennis Racket 99.90|Camping Tent 2P 149.00|
        Sleeping Bag 79.90|Climbing Chalk 11.90|Football 24.90|Swim Goggles 19.90|Foam Roller 27.90|
        Hiking Poles 59.00|Bike Light Set 31.90
    """,
    "books": """
        The Lake at Dawn 18.90|Cooking with Salt 29.90|A Short History of Maps 24.00|Learning to Sail 21.50|
        The Glass Orchard 12.90|Gardens of the North 34.00|Numbers for Everyone 16.90|The Night Ferry 11.90|
        Bread in Five Days 26.50|Atlas of Rivers 39.90|Letters from Trieste 14.90|The Quiet Engine 13.50|
        Birds of Europe 32.00|Stories for Bedtime 15.90|Chess Endings 22.90
    """,
    "toys": """
        Wooden Train Set 44.90|Building Bricks 500 39.90|Puzzle 1000 Pieces 16.90|Plush Bear 19.90|
        Board Game Harbour 34.90|Remote Car 49.00|Watercolour Set 14.50|Kite 18.90|Card Game Duel 9.90|
        Doll House 89.00|Science Kit 29.90|Marble Run 36.50|Bath Boat 8.90|Musical Mat 32.00|
        Juggling Balls 12.90
    """,
    "grocery": """
        Olive Oil 1 l 12.90|Single-Origin Coffee 1 kg 19.90|Green Tea Tin 11.50|Dark Chocolate Box 14.90|
        Acacia Honey 8.90|Pasta Selection 10.50|Sea Salt Flakes 5.90|Granola 6.50|Almond Butter 7.90|
        Spice Rack 24.90|Balsamic Vinegar 9.90|Dried Mango 4.90|Tomato Passata 6-Pack 11.90|
        Jasmine Rice 5 kg 13.50|Truffle Cream 17.90
    """,
}


def _shelve() -> dict[str, Product]:
    products: dict[str, Product] = {}
    for category, shelf in _SHELVES.items():
        for item in shelf.replace("\n", "").split("|"):
            name, _, price = item.strip().rpartition(" ")
            product = Product(f"P{len(products) + 1:04}", name, category, Decimal(price))
            products[product.id] = product
    return products


PRODUCTS: Final[dict[str, Product]] = _shelve()


def as_table() -> pa.Table:
    """The catalogue as rows: `product_id, product_name, product_category, price_eur`."""
    products = PRODUCTS.values()
    return pa.table(
        {
            "product_id": pa.array([product.id for product in products]),
            "product_name": pa.array([product.name for product in products]),
            "product_category": pa.array([product.category for product in products]),
            "price_eur": pa.array([product.price for product in products], pa.decimal128(12, 2)),
        }
    )
