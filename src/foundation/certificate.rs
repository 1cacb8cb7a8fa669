//! When certificates end.

use rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

use super::clock::EpochMs;

/// When the first of these ends; none where there is none, or one cannot be read.
pub fn first_end(chain: &[CertificateDer<'_>]) -> Option<EpochMs> {
    let ends: Option<Vec<_>> = chain.iter().map(end).collect();
    ends?.into_iter().min()
}

fn end(certificate: &CertificateDer<'_>) -> Option<EpochMs> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(EpochMs(seconds.checked_mul(1000)?))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn until(year: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["tokens.example".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn a_chain_ends_with_the_first_of_its_certificates() {
        // The first day of 2030, and of 2060, whose date has another form (RFC 5280, 4.1.2.5).
        let (first, other) = (EpochMs(1_893_456_000_000), EpochMs(2_840_140_800_000));
        assert_eq!(first_end(&[until(2060)]), Some(other));
        assert_eq!(first_end(&[until(2060), until(2030)]), Some(first));
        assert_eq!(first_end(&[until(2030), until(2060)]), Some(first));
        assert_eq!(first_end(&[]), None);
        let broken = CertificateDer::from(vec![0x30, 0x01]);
        assert_eq!(first_end(&[until(2030), broken]), None);
    }
}
