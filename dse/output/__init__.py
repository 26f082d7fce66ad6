"""What people read: tables, figures, progress, numbers with units."""
