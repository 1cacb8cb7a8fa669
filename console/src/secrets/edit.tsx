import { useQuery } from '@tanstack/react-query'
import { Modal } from 'antd'
import { useTranslation } from 'react-i18next'
import type { Secret } from '../api/contract'
import { realmQuery } from '../api/queries'
import { ProblemNotice } from '../shared/problem-notice'
import { Waiting } from '../shared/waiting'
import { SecretForm } from './form'

/** Changes a secret: what is left as its mask stays as it is. */
export function EditSecret({ secret, onClose }: { secret: Secret; onClose: () => void }) {
  const { t } = useTranslation(['secrets', 'common'])
  const { data: realm, error } = useQuery(realmQuery(secret.realm))
  return (
    <Modal open title={t('edit.title', { realm: secret.realm, key: secret.key })} footer={null} onCancel={onClose}>
      {error ? <ProblemNotice error={error} /> : null}
      {!realm && !error ? <Waiting label={t('common:loading')} /> : null}
      {realm ? <SecretForm realm={realm} secret={secret} saved={onClose} /> : null}
    </Modal>
  )
}
