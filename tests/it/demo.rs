//! What a newcomer sees.

use std::time::Duration;

use crate::kit::process::Demo;
use crate::kit::server::ADMIN_KEY;
use crate::kit::{PATIENCE, TestDatabase};

#[tokio::test]
async fn the_demo_prints_a_line_that_works_and_its_token_is_renewed_without_a_gap() {
    let database = TestDatabase::sqlite();
    let demo = Demo::start(&database);
    let (client, path) = (&demo.client, &demo.path);
    assert!(
        demo.curl
            .contains(&format!("Authorization: Bearer {ADMIN_KEY}"))
    );
    assert_eq!(client.without_key().get("/docs").await.status.as_u16(), 200);
    let polled = tokio::time::timeout(PATIENCE, async {
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
    polled.await.expect("the generation rises");
}
