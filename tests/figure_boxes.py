"""The boxes of all texts that a figure draws: which are cut off by its edge, which lie on another."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

ROOM_PT = 0.4
"""What two boxes may share, and stand out, without a letter of them touching anything [pt]."""


def drawn_texts(figure):
    """(text, box in points) of every text that is drawn, as it is drawn."""
    found, draw = {}, Text.draw

    def noted(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            found[id(self)] = self.get_text(), self.get_window_extent(renderer)
        return draw(self, renderer, *args, **kwargs)

    Text.draw = noted
    try:
        FigureCanvasAgg(figure).draw()
    finally:
        Text.draw = draw
    points = 72 / figure.dpi
    return [(text, [v * points for v in box.extents]) for text, box in found.values()]


def faults(figure):
    """What is wrong with the texts of a figure, in words."""
    texts = drawn_texts(figure)
    width, height = (72 * size for size in figure.get_size_inches())
    wrong = [
        f"{text!r} is cut off"
        for text, (x0, y0, x1, y1) in texts
        if min(x0, y0) < -ROOM_PT or x1 > width + ROOM_PT or y1 > height + ROOM_PT
    ]
    for (a, (ax0, ay0, ax1, ay1)), (b, (bx0, by0, bx1, by1)) in combinations(texts, 2):
        if min(ax1, bx1) - max(ax0, bx0) > ROOM_PT and min(ay1, by1) - max(ay0, by0) > ROOM_PT:
            wrong.append(f"{a!r} lies on {b!r}")
    return wrong
