"""The questions that `botvisor top` asks."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from botvisor.fleet.words import printable
from botvisor.message_forms import Mode

_CSS = """
%(name)s { align: center middle; }
%(name)s > Vertical {
    width: 80%%; min-width: 40; max-width: 80; height: auto; padding: 1 2; border: round $primary;
    background: $surface;
}
%(name)s Static { width: 100%%; height: auto; }
%(name)s Input, %(name)s Input:focus { height: 1; border: none; padding: 0; margin: 1 0; }
%(name)s .hint { margin-top: 1; color: $text-muted; }
"""


class Draft(NamedTuple):
    """A message that is to be sent.

    Args:
        text: what it says.
        mode: ``immediate`` or ``queued``.
    """

    text: str
    mode: Mode


class Confirm(ModalScreen[bool]):
    """Asks whether something is to be done.

    Args:
        question: the question; whatever it holds is shown as it is.
        then: what will happen, in a sentence.
    """

    DEFAULT_CSS = _CSS % {"name": "Confirm"}
    BINDINGS: ClassVar = [
        Binding("y,Y", "answer(True)", show=False),
        Binding("n,N,escape,q", "answer(False)", show=False),
    ]

    def __init__(self, question: str, then: str) -> None:
        super().__init__()
        self._question = question
        self._then = then

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with Vertical():
            yield Static(Text(printable(self._question), style="bold"))
            yield Static(Text(printable(self._then)))
            yield Static(Text("y yes   n no"), classes="hint")

    def action_answer(self, answer: bool) -> None:
        """End with an answer."""
        self.dismiss(answer)


class Compose(ModalScreen[Draft | None]):
    """Asks for a message.

    Args:
        bot_id: who is to get it.
    """

    DEFAULT_CSS = _CSS % {"name": "Compose"}
    BINDINGS: ClassVar = [
        Binding("tab,shift+tab", "mode", show=False, priority=True),
        Binding("escape", "leave", show=False),
    ]
    _MODES: ClassVar[tuple[Mode, Mode]] = ("queued", "immediate")

    def __init__(self, bot_id: str) -> None:
        super().__init__()
        self._bot_id = bot_id
        self._mode: Mode = "queued"

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with Vertical():
            yield Static(Text(f"A message to {printable(self._bot_id)}", style="bold"))
            yield Input()
            yield Static(id="mode")
            yield Static(Text("Enter send   Tab other mode   Esc leave it"), classes="hint")

    def on_mount(self) -> None:
        """Start with the text."""
        self.query_one(Input).focus()
        self._show_mode()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """End with the message, once there is one."""
        event.stop()
        if event.value.strip():
            self.dismiss(Draft(event.value, self._mode))

    def action_mode(self) -> None:
        """Take the other mode."""
        first, second = self._MODES
        self._mode = second if self._mode == first else first
        self._show_mode()

    def action_leave(self) -> None:
        """End without a message."""
        self.dismiss(None)

    def _show_mode(self) -> None:
        marks = ("●" if mode == self._mode else "○" for mode in self._MODES)
        told = "   ".join(f"{mark} {mode}" for mark, mode in zip(marks, self._MODES, strict=True))
        self.query_one("#mode", Static).update(Text(f"mode: {told}"))
