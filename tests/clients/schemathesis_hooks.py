"""What schemathesis must know of this server."""

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    # The first key is the one that it calls with.
    if case.operation.path == "/api/api-key/{id}":
        return str(case.path_parameters.get("id")) != "1"
    # Nothing is sent to whoever it makes up.
    if case.operation.path == "/api/realm/test" and isinstance(case.body, dict):
        return case.body.get("send") is not True
    return True
