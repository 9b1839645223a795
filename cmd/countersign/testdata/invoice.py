"""Computes an invoice from raw rows, apart from the program: one JSON object a line on standard input.

{"verification": ID, "fee": TEXT} and {"verification": ID, "carrier": NAME, "outcome": N, "charge": TEXT}, as the
database stores them. It prints the rows of countersign usage --step month --by carrier, without the columns that need
more than that.
"""
import json
import sys
from collections import defaultdict
from datetime import datetime, timezone
from fractions import Fraction

MILLION = Fraction(1, 1_000_000)
ACCEPTED, UNKNOWN = 0, 3


def month(identifier):
    """The month in which a UUIDv7 was made."""
    at = datetime.fromtimestamp(int(identifier[:12], 16) / 1000, timezone.utc)
    return at.strftime("%Y-%m-01")


sums = defaultdict(lambda: defaultdict(Fraction))
for line in sys.stdin:
    row = json.loads(line)
    when = month(row["verification"])
    if "fee" in row:
        price, currency = row["fee"].split()
        total = sums[when, "", currency]
        total["started"] += 1
        total["price"] += int(price) * MILLION
        continue
    words = row["charge"].split()
    if not words and row["outcome"] not in (ACCEPTED, UNKNOWN):
        continue
    units, cost, price, currency = (words + ["0", "0", "0", "EUR"])[:4] if not words else words
    total = sums[when, row["carrier"], currency]
    total["messages"] += 1
    total["segments"] += int(units)
    total["cost"] += int(cost) * MILLION
    total["price"] += int(price) * MILLION

print("month,carrier,currency,started,messages,segments,cost,price")
for (when, carrier, currency), total in sorted(sums.items()):
    money = ["%d.%06d" % divmod(int(total[name] / MILLION), 1_000_000) for name in ("cost", "price")]
    print(",".join([when, carrier, currency] + [str(int(total[name])) for name in ("started", "messages", "segments")] + money))
