"""Why jobs fail, in two classes: what the user sent, and what happened to it here.

A failure of the first class will come again for as long as the input is the same, and only its
user can mend it. One of the second is a *dead letter*: somebody should look at it, and the same
job may succeed once the cause is gone.
"""

from __future__ import annotations

# Codes of failures that the input itself, or what was asked of it, brings about.
USERS_OWN = frozenset(
    {
        "bad_input",
        "file_too_large",
        "image_too_large",
        "image_url_failed",
        "image_url_refused",
        "invalid_image",
        "invalid_parameter",
        "missing_image",
        "not_an_image",
        "result_withheld",
        "truncated_image",
    }
)


def is_dead_letter(code: str | None) -> bool:
    """Whether a job that failed with `code` is one. A code that nobody classed is: it is seen."""
    return code not in USERS_OWN
