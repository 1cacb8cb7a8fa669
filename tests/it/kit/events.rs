//! Server-sent events, as they come.

use serde_json::Value;
use tokio::time::timeout;

use super::PATIENCE;

/// An answer that goes on.
pub struct Events {
    answer: reqwest::Response,
    text: String,
}

impl Events {
    pub fn are_in(answer: &reqwest::Response) -> bool {
        let media_type = answer.headers().get("content-type");
        media_type.is_some_and(|media_type| media_type == "text/event-stream")
    }

    pub fn of(answer: reqwest::Response) -> Self {
        assert!(Self::are_in(&answer), "{answer:?}");
        Self {
            answer,
            text: String::new(),
        }
    }

    /// Up to the next empty line; none where the answer has ended.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let read = timeout(PATIENCE, self.answer.chunk()).await;
            match read.expect("something comes") {
                Ok(Some(bytes)) => self
                    .text
                    .push_str(std::str::from_utf8(&bytes).expect("UTF-8")),
                Ok(None) => return None,
                Err(error) => panic!("the answer breaks off: {error}"),
            }
        }
    }

    /// The first event, as it stands in the answer.
    pub async fn first(&mut self) -> String {
        let block = self.block().await.expect("an event");
        format!("{block}\n\n")
    }

    /// The next event; none where the answer has ended. Comments are none, however many come.
    pub async fn told(&mut self) -> Option<String> {
        let told = async {
            loop {
                let block = self.block().await?;
                if block != ":" {
                    return Some(block);
                }
            }
        };
        let told = timeout(PATIENCE, told).await;
        told.expect("an event comes, or the answer ends")
    }

    /// The data of the next event, which must be of this name; none where the answer has ended.
    pub async fn next(&mut self, name: &str) -> Option<Value> {
        let told = self.told().await?;
        let data = told.strip_prefix(&format!("event: {name}\ndata: "));
        let data = data.unwrap_or_else(|| panic!("another event: {told}"));
        Some(serde_json::from_str(data).expect("JSON"))
    }

    /// Waits for a comment; nothing else may come.
    pub async fn comment(&mut self) {
        assert_eq!(self.block().await.as_deref(), Some(":"));
    }

    /// Waits until the answer ends; nothing but comments may come.
    pub async fn end(mut self) {
        assert_eq!(self.told().await, None);
    }
}
