import { useEffect } from 'react'
import { readSession } from './calls'

const AT_MOST_EVERY_MS = 60_000

/** Keeps the session from its idle end while somebody works, not while a page lies open. */
export function useActivity() {
  useEffect(() => {
    let last = Date.now()
    const noticed = () => {
      if (Date.now() - last < AT_MOST_EVERY_MS) return
      last = Date.now()
      void readSession()
    }
    document.addEventListener('pointerdown', noticed)
    document.addEventListener('keydown', noticed)
    return () => {
      document.removeEventListener('pointerdown', noticed)
      document.removeEventListener('keydown', noticed)
    }
  }, [])
}
