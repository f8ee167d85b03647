"""The parcel company: what ``ecluse demo`` starts, with its own traffic and verdict programs."""
