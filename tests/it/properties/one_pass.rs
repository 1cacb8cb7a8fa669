//! One pass: what was rendered is never rendered again.

use proptest::prelude::*;
use proptest::sample::select;
use secrecy::ExposeSecret;
use serde_json::json;
use token_server::realm::expression::Expressions;

use super::holds;
use super::readers::{query, same, same_all};
use super::world::{World, realm};

/// A value that is a template of all other parameters.
fn templates_of_others(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let forms = "$NAME  ${NAME}  ${ NAME }  ${ NAME|upper }  <${NAME}>  {{ NAME }}  \
        {% if NAME %}x{% endif %}  ${ NAME ~ ' }  $${NAME}  \\${NAME}  ${${NAME}}  \
        %24%7BNAME%7D  &#36;{NAME}  \\u0024{NAME}  ${ args.NAME }  ${ 'NAME' }";
    let forms: Vec<_> = forms.split("  ").collect();
    let one =
        |name: &'static str| select(forms.clone()).prop_map(move |form| form.replace("NAME", name));
    let all: Vec<_> = names.iter().map(|name| one(name)).collect();
    let glue = select(vec!["", " ", "\n", "}", "${"]);
    (all, glue).prop_map(|(all, glue)| all.join(glue))
}

#[test]
fn a_parameter_that_is_itself_a_template_is_never_rendered_again() {
    const OTHERS: [&str; 8] = [
        "w",
        "x",
        "token",
        "args",
        "assertion",
        "now()",
        "uuid()",
        "body",
    ];
    let world = World::new();
    let realm = realm(json!({
        "params": {"v": {}, "w": {}, "x": {}},
        "steps": [{
            "url": world.url("/?q=${v}"), "method": "POST",
            "arguments": [
                {"name": "w", "place": "body", "value": "$w"},
                {"name": "once", "place": "body", "value": "$v"},
                {"name": "mixed", "place": "body", "value": "<${v}>"},
                {"name": "again", "place": "body", "value": "${args.once}"},
                {"name": "within", "place": "body", "value": "<${args.once}>"},
                {"name": "read", "place": "body", "value": "${ v|tojson|fromjson }"},
                {"name": "mapped", "place": "body", "value": "${ [v]|map('string')|join }"},
            ],
        }],
        "url": world.url("/"), "method": "POST", "content_type": "text",
        "arguments": [{"name": "once", "place": "url", "value": "$v"}],
        "body": "<${args.once}>",
        "extra": {"v": "v"},
        "token_template": "<${v}|${token}|${extra.v}>",
    }));
    let expressions = Expressions::new();
    holds(templates_of_others(&OTHERS), |v| {
        let scope = minijinja::Value::from_pairs([("v", v.as_str()), ("w", "expanded")]);
        for source in [
            "$v",
            "${ v }",
            "${v}",
            "${ v|string }",
            "${ [v]|join }",
            "${ v ~ '' }",
        ] {
            let template = expressions.template(source).expect("well-formed");
            let rendered = expressions
                .render(&template, &scope)
                .expect("it has a value");
            prop_assert_eq!(rendered.as_str(), Some(v.as_str()), "{}", source);
        }
        let params = [("v", v.as_str()), ("w", "expanded"), ("x", "expanded")];
        let (obtained, seen) = world.fetch(&realm, &params);
        let obtained = obtained.expect("a token");
        same_all("query", &query(&seen[0]), "q", &[&v])?;
        let (body, within) = (seen[0].json(), format!("<{v}>"));
        for (name, wanted) in [
            ("once", &v),
            ("again", &v),
            ("read", &v),
            ("mapped", &v),
            ("mixed", &within),
            ("within", &within),
        ] {
            prop_assert_eq!(body[name].as_str(), Some(wanted.as_str()), "{}", name);
        }
        same("body", &seen[1].body, &within)?;
        prop_assert_eq!(&obtained.payload.extra["v"], &json!(v));
        let served = obtained
            .served
            .map(|served| served.expose_secret().to_owned());
        prop_assert_eq!(served, Some(format!("<{v}|issued|{v}>")));
        Ok(())
    });
}
