"""Formulas as MathML, made while the site is built: blocks fenced by ```math, and $`x`$ within a line, as code hosts show them too."""
import re

from latex2mathml.converter import convert
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from pymdownx.superfences import SuperFencesException

INLINE = r"\$`([^`\n]+)`\$"


def mathml(latex, display):
    """The formula as a <math> element. What the converter does not know it would write out as text: that is an error here."""
    found = convert(latex.strip(), display=display)
    found = found.replace('<mo accent="true">&#x02015;</mo>', '<mo accent="true" stretchy="true">&#x000AF;</mo>')
    if unknown := re.search(r"<m[a-z]+>\s*(?:\\\w*|&)\s*</m[a-z]+>", found):
        raise ValueError(f"{latex.strip()}: {unknown[0]} is no formula")
    return found


def block(source, language, css_class, options, md, **attributes):
    """A fence ```math, for pymdownx.superfences."""
    try:
        return f'<div class="formula">{mathml(source, "block")}</div>'
    except Exception as error:
        raise SuperFencesException(str(error)) from error      # any other is taken for "no formula, then code"


class Inline(InlineProcessor):
    """A formula within a line; before backticks are taken for code."""

    def handleMatch(self, m, data):
        return self.md.htmlStash.store(mathml(m[1], "inline")), m.start(0), m.end(0)


class Formulas(Extension):
    """Registers the inline formulas with Markdown."""

    def extendMarkdown(self, md):
        md.inlinePatterns.register(Inline(INLINE, md), "formula", 200)
