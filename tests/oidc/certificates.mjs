// Client certificates (RFC 8705), as they stand on the connection itself.

export const certificates = {
  getCertificate(ctx) {
    const { raw } = ctx.socket.getPeerCertificate?.() ?? {};
    return raw && `-----BEGIN CERTIFICATE-----\n${raw.toString('base64')}\n-----END CERTIFICATE-----`;
  },

  certificateAuthorized(ctx) {
    return ctx.socket.authorized === true;
  },

  certificateSubjectMatches(ctx, property, expected) {
    const { subject } = ctx.socket.getPeerCertificate();
    return property === 'tls_client_auth_subject_dn' && `CN=${subject.CN}` === expected;
  },
};
