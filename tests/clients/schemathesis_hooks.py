"""What schemathesis must know of this server."""

import schemathesis


def is_first(number):
    """Whether the server may read a text as 1: it takes "+1" and "01", too."""
    try:
        return int(str(number)) == 1
    except ValueError:
        return False


@schemathesis.hook
def filter_case(context, case):
    # The first key is the one that it calls with.
    if case.operation.path == "/api/api-key/{id}":
        return not is_first(case.path_parameters.get("id"))
    # A dry run deletes nothing; in a sequence it would be taken for a deletion.
    if case.method == "DELETE" and (case.query or {}).get("dry_run") in (True, "true"):
        return False
    # Nothing is sent to whoever it makes up.
    if case.operation.path == "/api/realm/test" and isinstance(case.body, dict):
        return case.body.get("send") is not True
    return True
