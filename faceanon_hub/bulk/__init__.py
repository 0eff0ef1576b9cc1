"""Many photos: folder trees and datasets, resumable, in several processes."""
