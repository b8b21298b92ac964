//! The client's last text, from which a hook may make names.

use crate::frame::Frame;

/// The longest text that is kept. A name is shorter than 100 bytes, and each text is kept while it is handled.
const LONGEST: usize = 4096;

/// The text that the client sent last, until it sends another or the application waits for one.
#[derive(Clone, Default)]
pub(super) struct LastText(Option<Box<str>>);

impl LastText {
    pub(super) fn set_frame(&mut self, frame: &Frame) {
        if let Frame::Text(text) = frame
            && text.len() <= LONGEST
        {
            self.0 = Some(text.as_str().into());
        }
    }

    pub(super) fn set_body(&mut self, body: &[u8]) {
        if body.len() <= LONGEST {
            self.0 = std::str::from_utf8(body).ok().map(Box::from);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }
}
