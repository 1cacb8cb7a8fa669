//! How long a session lasts.

use crate::foundation::clock::Ms;

#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// After it was last prolonged.
    pub idle: Ms,
    /// After it was begun, however often it is prolonged.
    pub longest: Ms,
}
