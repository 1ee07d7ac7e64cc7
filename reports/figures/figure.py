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
        What it is, and what its marks mean.
    chart : alt.LayerChart
    min_width : int
        Pixels below which the page scrolls the figure sideways rather than squeeze it.
    axis : str
        The channel ("x" or "y") whose meaning the page gives in a list to choose from, so that only a file needs a title there.
    """

    name: str
    title: str
    text: str
    chart: alt.LayerChart
    min_width: int
    axis: str = ""

    @property
    def chosen(self) -> dict[str, str]:
        """What the lists of the chart show at first: "Model" -> "hog-svm"."""
        parameters = self.chart.to_dict().get("params", [])
        return {each["bind"]["name"].strip(): each["value"] for each in parameters if "bind" in each}
