# The names that other folders take from here, each in its home: type checkers read it, and so does __init__.py.
from .page import Drawn as Drawn
from .page import draw as draw
from .page import figure_bytes as figure_bytes
from .page import picture_of as picture_of
from .page import unseen_characters as unseen_characters
from .planes import PlaneChart as PlaneChart
from .planes import View as View
from .planes import plane_figure as plane_figure
from .style import FORMATS as FORMATS
from .style import WIDTHS as WIDTHS
from .style import ColumnWidth as ColumnWidth
from .style import checked_form as checked_form
