//! Faults of `open`.

use std::sync::atomic::Ordering::Relaxed;

use super::{Fault, Faulty};
use crate::{
    config::{Bounds, MailboxOptions, OverflowPolicy},
    error::{Error, NameError, Result},
    layer::ChannelLayer,
    mailbox::Mailbox,
    name::ChannelName,
};

impl Faulty {
    pub(super) async fn open_mailbox(&self, mut options: MailboxOptions) -> Result<Mailbox> {
        match self.fault {
            Some(Fault::OpensNoneInOutages) if self.is_away() => {
                return Err(Error::Unavailable("it is away".into()));
            }
            Some(Fault::OpensDeadMailboxes) if self.is_away() => return self.dead_mailbox(&options),
            Some(Fault::CountsNames) => {
                let number = {
                    let mut state = self.world.state();
                    state.opened += 1;
                    state.opened
                };
                return self.named_mailbox(&options, &format!("{}!{number}", self.layer.process()));
            }
            Some(Fault::SharesNames) => {
                let number = self.opened.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                return self.named_mailbox(&options, &format!("0123456789abcdef!{number:016x}"));
            }
            Some(Fault::OmitsPrefixes) => options.prefix = "specific".to_owned(),
            Some(Fault::RefusesDots) if options.prefix.contains('.') => {
                return Err(NameError::Character { at: 0 }.into());
            }
            Some(Fault::TakesBadPrefixes) if ChannelName::random(&options.prefix).is_err() => {
                options.prefix = "specific".to_owned();
            }
            Some(Fault::IgnoresPolicies) => options.overflow = None,
            Some(Fault::DropsTheOldest) => options.overflow = Some(OverflowPolicy::DropOldest),
            Some(Fault::IgnoresBytes) => options.byte_capacity = None,
            _ => {}
        }
        self.layer.open(options).await
    }

    /// A mailbox that no process sends to.
    fn dead_mailbox(&self, options: &MailboxOptions) -> Result<Mailbox> {
        let channel = ChannelName::random(&format!("{}.{}", options.prefix, self.layer.process()))?;
        let limits = self.config.limits_of(&channel, options);
        Ok(Mailbox::new(channel, limits, None))
    }

    /// A mailbox whose name is not random.
    fn named_mailbox(&self, options: &MailboxOptions, rest: &str) -> Result<Mailbox> {
        let channel = ChannelName::new(format!("{}.{rest}", options.prefix))?;
        let bounds: Bounds = self.config.limits_of(&channel, options).bounds;
        self.layer.hub().open(channel, bounds).ok_or_else(|| Error::Backend("the name is taken".into()))
    }
}
