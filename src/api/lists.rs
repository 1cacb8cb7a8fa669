//! Answers as the predecessor gave them: `{"data": …, "success": "ok"}`.

use poem_openapi::Object;
use poem_openapi::types::{ParseFromJSON, ToJSON, Type};

use crate::foundation::page::Listed;

/// One page of a list.
#[derive(Object)]
pub struct PageOf<T: ParseFromJSON + ToJSON + Type + Send + Sync> {
    pub list: Vec<T>,
    /// How long the whole list is.
    pub total: u64,
}

/// An answer with a payload.
#[derive(Object)]
pub struct Data<T: ParseFromJSON + ToJSON + Type + Send + Sync> {
    pub data: T,
    /// Always `ok`.
    pub success: String,
}

/// An answer without a payload.
#[derive(Object)]
pub struct Success {
    /// Always `ok`.
    pub success: String,
}

pub fn data<T: ParseFromJSON + ToJSON + Type + Send + Sync>(data: T) -> Data<T> {
    Data {
        data,
        success: "ok".to_owned(),
    }
}

pub fn list<T: ParseFromJSON + ToJSON + Type + Send + Sync>(listed: Listed<T>) -> Data<PageOf<T>> {
    data(PageOf {
        list: listed.list,
        total: listed.total,
    })
}

pub fn success() -> Success {
    Success {
        success: "ok".to_owned(),
    }
}
