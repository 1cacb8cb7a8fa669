import access from './access.json'
import audit from './audit.json'
import common from './common.json'
import overview from './overview.json'
import problems from './problems.json'
import realms from './realms.json'
import renewals from './renewals.json'
import secrets from './secrets.json'
import session from './session.json'
import settings from './settings.json'
import start from './start.json'

export default { access, audit, common, overview, problems, realms, renewals, secrets, session, settings, start }
