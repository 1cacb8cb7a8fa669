//! What a newcomer sees.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::kit::process::command;
use crate::kit::server::{ADMIN_KEY, Client};
use crate::kit::{PATIENCE, TestDatabase};

#[tokio::test]
async fn the_demo_prints_a_line_that_works_and_its_token_is_renewed_without_a_gap() {
    let database = TestDatabase::sqlite();
    // The demo lists loopback by itself.
    let nowhere = ("TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS", String::new());
    let mut demo = command(&database, &[nowhere])
        .args(["serve", "--demo"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let printed = BufReader::new(demo.stdout.take().expect("standard output is piped"));
    let lines = printed.lines().map_while(Result::ok);
    let curl = lines
        .map(|line| line.trim().to_owned())
        .find(|line| line.starts_with("curl "))
        .expect("a curl line is printed");
    assert!(curl.contains(&format!("Authorization: Bearer {ADMIN_KEY}")));
    let url = curl
        .split('\'')
        .rfind(|part| part.starts_with("http"))
        .expect("a URL");
    let (base, path) = url.split_at(url.find("/api/").expect("a path of the API"));
    let client = Client::new(base.to_owned());
    assert_eq!(client.without_key().get("/docs").await.status.as_u16(), 200);
    let polled = tokio::time::timeout(2 * PATIENCE, async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            let token = client.get(path).await.expect(200).json();
            assert!(token["expires_in"].as_i64() > Some(0), "{token}");
            if token["generation"].as_i64() >= Some(3) {
                return;
            }
        }
    });
    polled
        .await
        .expect("the generation has risen within a minute");
    demo.kill().expect("the demo can be killed");
    demo.wait().expect("the demo ends");
}
