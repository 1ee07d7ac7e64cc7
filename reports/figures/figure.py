"""A chart with its title and the words that explain its marks."""

from dataclasses import dataclass

import altair as alt


@dataclass(frozen=True)
class Figure:
    """One figure of the report.

    Attributes
    ----------
    name : str
        Identifier in the page.
    title, text : str
        Title, and meaning of the marks.
    chart : alt.LayerChart
    min_width : int
        Width in pixels below which the page scrolls the figure sideways.
    axis : str
        The channel ("x" or "y") whose meaning is selected from a list on the page, so that only a file needs a title there.
    """

    name: str
    title: str
    text: str
    chart: alt.LayerChart
    min_width: int
    axis: str = ""

    @property
    def chosen(self) -> dict[str, str]:
        """What is selected in the lists of the chart at first: "Model" -> "hog-svm"."""
        parameters = self.chart.to_dict().get("params", [])
        return {each["bind"]["name"].strip(): each["value"] for each in parameters if "bind" in each}
