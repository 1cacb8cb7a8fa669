//! Which application a push is for: each that it may be for is tried with its keys. That takes the
//! longer, the more there are and the longer the push is, so it is done where nobody else waits.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::SecretString;
use tokio::task::JoinError;

use super::applications::Application;
use super::message;
use super::push::{OwnedPush, Push, PushFault, PushKeys, PushReply, Pushed, Window};
use crate::foundation::randomness::Randomness;
use crate::realm::document::{TicketFormat, TicketRule};

/// How a realm's pushes are read.
#[derive(Clone, Copy)]
pub(super) struct PushForm {
    pub format: TicketFormat,
    /// Whether an application has a key that they are encrypted with.
    pub is_encrypted: bool,
}

impl From<&TicketRule> for PushForm {
    fn from(rule: &TicketRule) -> Self {
        Self {
            format: rule.format,
            is_encrypted: rule.aes_key.is_some(),
        }
    }
}

/// What pushes are checked by that are for no application that is here: nobody knows it.
pub(super) struct Nobody {
    token: SecretString,
    aes_key: SecretString,
}

impl Nobody {
    pub fn new(randomness: &Randomness) -> Self {
        Self {
            token: randomness.id().into(),
            aes_key: STANDARD_NO_PAD.encode(randomness.bytes::<32>()).into(),
        }
    }

    /// Why a push is refused as if the application that it is for were here.
    fn refuse(&self, form: PushForm, push: &Push<'_>, window: Window) -> PushFault {
        let keys = PushKeys {
            app_id: "",
            token: &self.token,
            aes_key: form.is_encrypted.then_some(&self.aes_key),
        };
        let opened = message::open(form.format, keys, push, window);
        opened.err().unwrap_or(PushFault::BadSignature)
    }
}

/// What came of it.
pub(super) enum Tried {
    Ticket {
        app_id: String,
        value: SecretString,
        sent_at_s: i64,
    },
    /// What its provider wants to read.
    Answer(PushReply),
    Refused {
        fault: PushFault,
        /// No application is here that it may be for.
        is_for_nobody: bool,
    },
}

/// Tries each application, in their order, on a thread of its own.
///
/// # Errors
/// Where the server stops meanwhile.
pub(super) async fn tried(
    applications: Vec<Arc<Application>>,
    nobody: Arc<Nobody>,
    form: PushForm,
    push: OwnedPush,
    window: Window,
) -> Result<Tried, JoinError> {
    let trying = move || try_each(&applications, &nobody, form, &push.borrowed(), window);
    tokio::task::spawn_blocking(trying).await
}

fn try_each(
    applications: &[Arc<Application>],
    nobody: &Nobody,
    form: PushForm,
    push: &Push<'_>,
    window: Window,
) -> Tried {
    let mut refused = None;
    for application in applications {
        let keys = PushKeys {
            app_id: &application.app_id,
            token: &application.token,
            aes_key: application.aes_key.as_ref(),
        };
        match message::open(form.format, keys, push, window) {
            Err(error) => refused = refused.or(Some(error)),
            Ok(Pushed::Challenge(answer)) => return Tried::Answer(answer),
            Ok(Pushed::Other) => return Tried::Answer(message::acknowledgement(form.format)),
            Ok(Pushed::Ticket { value, sent_at_s }) => {
                let app_id = application.app_id.clone();
                return Tried::Ticket {
                    app_id,
                    value,
                    sent_at_s,
                };
            }
        }
    }
    Tried::Refused {
        fault: refused.unwrap_or_else(|| nobody.refuse(form, push, window)),
        is_for_nobody: refused.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Poll;

    use tokio::runtime::Builder;

    use super::*;
    use crate::foundation::ids::SecretId;
    use crate::ticket::push::FeishuHeaders;

    /// There is one thread for what takes long: while it is busy no application is tried.
    #[test]
    fn applications_are_tried_where_nobody_else_waits() {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(1)
            .build();
        runtime.unwrap().block_on(async {
            let (release, busy) = mpsc::channel::<()>();
            let occupied = tokio::task::spawn_blocking(move || busy.recv());
            let applications = (0..3).map(|number| {
                Arc::new(Application {
                    secret: SecretId(number),
                    app_id: format!("app-{number}"),
                    token: "a-token".into(),
                    aes_key: None,
                })
            });
            let form = PushForm {
                format: TicketFormat::FeishuJson,
                is_encrypted: false,
            };
            let push = Push {
                query: &[],
                headers: FeishuHeaders::default(),
                body: br#"{"encrypt":"x"}"#,
            };
            let window = Window {
                now_s: 0,
                tolerance_s: 600,
            };
            let nobody = Arc::new(Nobody::new(&Randomness::seeded(1)));
            let mut trying = pin!(tried(
                applications.collect(),
                nobody,
                form,
                push.copied(),
                window
            ));
            let first = poll_fn(|context| Poll::Ready(trying.as_mut().poll(context).is_pending()));
            assert!(
                first.await,
                "it was tried on the thread that serves everybody"
            );
            release.send(()).unwrap();
            occupied.await.unwrap().unwrap();
            let tried = trying.await.unwrap();
            assert!(matches!(
                tried,
                Tried::Refused {
                    is_for_nobody: false,
                    ..
                }
            ));
        });
    }
}
