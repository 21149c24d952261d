//! With which certificate, and with how much patience.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use rcmd_certs::{
    Layout, clock,
    enroll::Kind,
    tls::{self, ClientFiles, client_config},
};

use crate::{
    error::Error,
    renewal::{self, Renewed, When},
};

/// Time for name, TCP and TLS together, unless [`Config::connect_timeout`] says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a client needs to reach its hosts. It is read once and cheap to clone.
#[derive(Clone)]
pub struct Config {
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) files: ClientFiles,
    layout: Layout,
    /// When the certificate is of no more use, if there is an authority that renews it.
    usable_until: Option<i64>,
    pub(crate) connect_timeout: Duration,
    pub(crate) compress: bool,
}

impl Config {
    /// Reads `ca.pem`, `client/cert.pem` and `client/key.pem` in `dir`.
    ///
    /// # Errors
    /// Kind `tls`: a file is missing, unreadable, open to others, or does not fit the other.
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        let layout = Layout::new(dir);
        let files = ClientFiles::from(&layout);
        let config = client_config(&files)?;
        let renewable = rcmd_certs::files::exists(&layout.contact(Kind::Client));
        let leaf = renewable.then(|| tls::load_leaf(&files.cert)).transpose()?;
        let usable_until = leaf.as_ref().map(renewal::usable_until);
        Ok(Self {
            tls: config,
            files,
            layout,
            usable_until,
            connect_timeout: CONNECT_TIMEOUT,
            compress: false,
        })
    }

    /// Returns this configuration with a certificate that has not ended: one that has, or is about
    /// to, is renewed if it came by a token. The one that was read counts, and not the file, which
    /// somebody else may have renewed since. [`Client::connect`](crate::Client::connect) does this
    /// too, and can't tell what came of it.
    ///
    /// # Errors
    /// Kind `tls`: it has ended and could not be renewed within [`Config::connect_timeout`].
    ///
    /// # Cancel safety
    /// Nothing is half written when it is dropped.
    pub async fn unexpired(&self) -> Result<(Self, Renewed), Error> {
        if self.usable_until.is_none_or(|until| clock::now_unix() <= until) {
            return Ok((self.clone(), Renewed::No));
        }
        let renewed = renewal::renew_within(self.connect_timeout, &self.layout).await?;
        Ok((self.reread()?, renewed))
    }

    /// Returns this configuration with the files as they are now; an identity that came by a token
    /// is renewed first, if it is time.
    ///
    /// # Errors
    /// It has ended and could not be renewed. Failing to renew what is still good is none.
    pub(crate) async fn refreshed(&self) -> Result<Self, Error> {
        if let Err(error) = renewal::renew(&self.layout, When::Due).await
            && renewal::has_ended(&self.layout)
        {
            return Err(error);
        }
        // What can't be read any more was read once.
        Ok(self.reread().unwrap_or_else(|_| self.clone()))
    }

    /// Returns this configuration with the files as they are now.
    fn reread(&self) -> Result<Self, Error> {
        let Self { connect_timeout, compress, .. } = *self;
        Ok(Self { connect_timeout, compress, ..Self::from_dir(self.layout.dir())? })
    }

    /// Has connections compressed, if the server agrees: worth its processor time on a slow link.
    /// What is sent becomes as long as it is unlike what was sent before, which whoever watches the
    /// link can see.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// Sets the limit for name, TCP and TLS together; 10 s without this call.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("files", &self.files)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}
