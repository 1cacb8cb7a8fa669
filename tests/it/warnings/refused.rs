//! Documents that are refused, with what to write instead.

use serde_json::json;

use super::{argument, assert_single, config, faults};
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    a_function_that_can_never_be_a_value_is_refused,
    a_syntax_error_is_refused_with_its_place_and_what_to_write,
    a_pattern_that_is_none_is_refused_with_its_own_error,
}

async fn a_function_that_can_never_be_a_value_is_refused(database: TestDatabase) {
    let server = Server::start(&database).await;
    for value in [
        "$now",
        "${now}",
        "${ uuid }",
        "a ${ nonce } b",
        "${ client_id }${now}",
    ] {
        let config = argument("body", json!(value));
        let told = faults(&server.client, &config).await;
        assert_single(
            &told,
            "/config/arguments/2/value",
            "is a function: write ${",
            &config,
        );
    }
}

async fn a_syntax_error_is_refused_with_its_place_and_what_to_write(database: TestDatabase) {
    let server = Server::start(&database).await;
    for (value, parts) in [
        (
            "${ client_id ? 'a' : 'b' }",
            ["(column 14)", "A if CONDITION else B"],
        ),
        (
            "x ${ client_id && client_secret }",
            ["(column 16)", "write and"],
        ),
        ("${ !client_id }", ["(column 4)", "write not"]),
        (
            "${ 'Bearer ' ~ ${client_id} }",
            ["(column 16)", "without ${ and }"],
        ),
        (
            "a\n${ client_id }\n${ client_id || 'x' }",
            ["(line 3, column 14)", "write or"],
        ),
        ("${ client_id === 'x' }", ["(column 14)", "write =="]),
        (
            "${ client_id|nope }",
            ["unknown filter nope (column 14)", "known are base64"],
        ),
        (
            "${ client_id|b64encode }",
            ["(column 14)", "did you mean base64?"],
        ),
        ("${ base64(client_id) }", ["base64", "write x|base64"]),
        ("${ client_id.upper() }", ["(column 14)", "write x|upper"]),
        (
            "${ clientid }",
            ["clientid, which is not declared", "did you mean client_id?"],
        ),
        (
            "${ debug(client_id) }",
            [
                "debug, which is not declared",
                "the functions now(), uuid(), nonce()",
            ],
        ),
    ] {
        let config = argument("body", json!(value));
        let told = faults(&server.client, &config).await;
        for part in parts {
            assert_single(&told, "/config/arguments/2/value", part, &config);
        }
    }
    let config = config(json!({"success": "status = 200", "extra": {"a": "body.a ? 1 : 2"}}));
    let told = faults(&server.client, &config).await;
    assert_eq!(told.len(), 2, "{told:?}");
}

async fn a_pattern_that_is_none_is_refused_with_its_own_error(database: TestDatabase) {
    let server = Server::start(&database).await;
    for (pattern, part) in [
        ("[a-z", "unclosed character class (column 1)"),
        ("a(b", "unclosed group (column 2)"),
        ("(?=.*x).+", "has a look-ahead (column 1)"),
        ("x(?<!y)z", "has a look-behind (column 2)"),
        (r"(a)\1", "has a back-reference (column 4)"),
    ] {
        let config = config(json!({"params": {
            "client_id": {"pattern": pattern}, "client_secret": {}}}));
        let told = faults(&server.client, &config).await;
        assert_single(&told, "/config/params/client_id/pattern", part, &config);
    }
}
