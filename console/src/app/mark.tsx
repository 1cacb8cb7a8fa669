/** The sign of the program; what it says is read where it stands. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true">
      <rect width="32" height="32" rx="7" className="mark-ground" />
      <circle cx="16" cy="16" r="8.5" className="mark-ring" />
      <circle cx="16" cy="16" r="2.6" className="mark-dot" />
    </svg>
  )
}
