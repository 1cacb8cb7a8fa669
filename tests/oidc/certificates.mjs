// Client certificates (RFC 8705), as they stand on the connection itself.

export const certificates = {
  getCertificate,

  certificateAuthorized(ctx) {
    return ctx.socket.authorized === true;
  },

  certificateSubjectMatches(ctx, property, expected) {
    return property === 'tls_client_auth_subject_dn' && subjectOf(getCertificate(ctx)) === expected;
  },
};

/** Connections without TLS have none. */
function getCertificate(ctx) {
  return ctx.socket.getPeerX509Certificate?.();
}

/**
 * The whole subject as RFC 4514 writes it, last name first: `CN=the-client,O=Example,C=DE`.
 * Node gives the names already escaped, first name first, each on a line.
 */
function subjectOf(certificate) {
  const names = certificate.subject.split('\n').reverse();
  return names.map((name) => name.split(' + ').reverse().join('+')).join(',');
}
