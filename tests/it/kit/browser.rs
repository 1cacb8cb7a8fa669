//! A browser that has signed in to the console: it has the cookie of a session, and no key.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::client::{Client, Reply};

pub struct Browser {
    client: Client,
    /// Name and value.
    pub cookie: String,
    /// The header that set it.
    pub set: String,
    /// What the page shows with each change.
    pub csrf: String,
    /// What the server said of the session.
    pub shown: Value,
}

impl Browser {
    pub async fn sign_in(client: &Client, key: &str) -> Self {
        let begun = client.with_key(key).post("/api/session", &json!({})).await;
        let begun = begun.expect(200);
        let set = begun
            .header("set-cookie")
            .expect("it sets a cookie")
            .to_owned();
        let mut browser = Self {
            client: client.without_key(),
            cookie: String::new(),
            set,
            csrf: String::new(),
            shown: begun.json()["data"].take(),
        };
        browser.take();
        browser
    }

    /// One that has the cookie of a session already.
    pub async fn with_session(client: &Client, set: &str) -> Self {
        let mut browser = Self {
            client: client.without_key(),
            cookie: String::new(),
            set: set.to_owned(),
            csrf: String::new(),
            shown: json!({"csrf": ""}),
        };
        browser.take();
        browser.show().await;
        browser.take();
        browser
    }

    fn take(&mut self) {
        let (cookie, _) = self.set.split_once(';').expect("it has attributes");
        self.cookie = cookie.to_owned();
        self.csrf = self.shown["csrf"].as_str().expect("a text").to_owned();
    }

    /// The same at another replica.
    pub fn at(&self, client: &Client) -> Self {
        Self {
            client: client.without_key(),
            ..self.with_cookie(&self.cookie)
        }
    }

    /// The same with other cookies.
    pub fn with_cookie(&self, cookie: &str) -> Self {
        Self {
            client: self.client.clone(),
            cookie: cookie.to_owned(),
            set: self.set.clone(),
            csrf: self.csrf.clone(),
            shown: self.shown.clone(),
        }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, path);
        request.header("cookie", &self.cookie)
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.client.send(self.request(Method::GET, path)).await
    }

    /// With what the page shows.
    pub async fn change(&self, method: Method, path: &str) -> Reply {
        let request = self.request(method, path);
        self.client
            .send(request.header("x-csrf-token", &self.csrf))
            .await
    }

    /// Asks for the session, which prolongs it; answers whether there is a new cookie.
    pub async fn show(&mut self) -> bool {
        let reply = self.get("/api/session").await.expect(200);
        self.shown = reply.json()["data"].take();
        let Some(set) = reply.header("set-cookie") else {
            return false;
        };
        self.set = set.to_owned();
        self.take();
        true
    }
}
