package imgd

import (
	"context"
	"iter"

	imgdv1 "imgd.dev/go/imgd/v1"
)

// Images lists images, newest first, page by page as they are asked for. Filters are key=value; an image is
// given as a reference, an ID, a repo digest, a unique ID prefix of four digits or more, or a resource name.
func (c *Client) Images(ctx context.Context, filters ...string) iter.Seq2[*imgdv1.Image, error] {
	return c.ListImages(ctx, &imgdv1.ListImagesRequest{Filters: filters})
}

// ListImages is Images with all that a request can say: the view, and the size of pages.
func (c *Client) ListImages(
	ctx context.Context, request *imgdv1.ListImagesRequest,
) iter.Seq2[*imgdv1.Image, error] {
	return pages(func(token string) ([]*imgdv1.Image, string, error) {
		request := clone(request)
		request.PageToken = token
		page, err := call(ctx, c, c.images.ListImages, request)
		return page.GetImages(), page.GetNextPageToken(), err
	})
}

// Image returns one image.
func (c *Client) Image(ctx context.Context, image string) (*imgdv1.Image, error) {
	response, err := call(ctx, c, c.images.GetImage, &imgdv1.GetImageRequest{Image: image})
	return response.GetImage(), err
}

// InspectImage returns an image with its parsed config, for one platform or, empty, the one served by default.
func (c *Client) InspectImage(
	ctx context.Context, image, platform string,
) (*imgdv1.InspectImageResponse, error) {
	return call(ctx, c, c.images.InspectImage, &imgdv1.InspectImageRequest{Image: image, Platform: platform})
}

// ImageHistory returns the steps that made an image, oldest first.
func (c *Client) ImageHistory(ctx context.Context, image, platform string) ([]*imgdv1.HistoryEntry, error) {
	request := &imgdv1.GetImageHistoryRequest{Image: image, Platform: platform}
	response, err := call(ctx, c, c.images.GetImageHistory, request)
	return response.GetEntries(), err
}

// TagImage gives an image one more name; a name in use moves. ExpectedDigest in the request makes it a compare
// and swap.
func (c *Client) TagImage(
	ctx context.Context, request *imgdv1.TagImageRequest,
) (*imgdv1.TagImageResponse, error) {
	return call(ctx, c, c.images.TagImage, request)
}

// UntagImage takes one name away, and never content. It returns the image that lost it.
func (c *Client) UntagImage(ctx context.Context, reference string) (*imgdv1.Image, error) {
	response, err := call(ctx, c, c.images.UntagImage, &imgdv1.UntagImageRequest{Reference: reference})
	return response.GetImage(), err
}

// RemoveImage removes a name or an image, as docker rmi does. It fails with [ErrInUse] when the image is held.
func (c *Client) RemoveImage(
	ctx context.Context, image string, force bool,
) (*imgdv1.RemoveImageResponse, error) {
	return call(ctx, c, c.images.RemoveImage, &imgdv1.RemoveImageRequest{Image: image, Force: force})
}

// PruneImages removes dangling images, or with All every image that nothing holds. It takes as long as there
// are images: the client's timeout does not apply.
func (c *Client) PruneImages(
	ctx context.Context, request *imgdv1.PruneImagesRequest,
) (*imgdv1.PruneImagesResponse, error) {
	response, err := c.images.PruneImages(ctx, request)
	return response, wrap(err)
}

// PinImage keeps an image from prune and collection, until UnpinImage. Both may be repeated.
func (c *Client) PinImage(ctx context.Context, image string) (*imgdv1.Image, error) {
	response, err := call(ctx, c, c.images.PinImage, &imgdv1.PinImageRequest{Image: image})
	return response.GetImage(), err
}

// UnpinImage takes a pin away.
func (c *Client) UnpinImage(ctx context.Context, image string) (*imgdv1.Image, error) {
	response, err := call(ctx, c, c.images.UnpinImage, &imgdv1.UnpinImageRequest{Image: image})
	return response.GetImage(), err
}

// Files lists a directory of an image, in the order of paths, without unpacking it.
func (c *Client) Files(
	ctx context.Context, request *imgdv1.ListFilesRequest,
) iter.Seq2[*imgdv1.FileInfo, error] {
	return pages(func(token string) ([]*imgdv1.FileInfo, string, error) {
		request := clone(request)
		request.PageToken = token
		page, err := call(ctx, c, c.files.ListFiles, request)
		return page.GetFiles(), page.GetNextPageToken(), err
	})
}

// File returns a file's attributes.
func (c *Client) File(ctx context.Context, request *imgdv1.GetFileRequest) (*imgdv1.FileInfo, error) {
	response, err := call(ctx, c, c.files.GetFile, request)
	return response.GetFile(), err
}

// Info says which daemon this is.
func (c *Client) Info(ctx context.Context) (*imgdv1.GetInfoResponse, error) {
	return call(ctx, c, c.system.GetInfo, &imgdv1.GetInfoRequest{})
}

// RemoteTags lists the tags of a repository in its registry, pulling nothing.
func (c *Client) RemoteTags(
	ctx context.Context, request *imgdv1.ListTagsRequest,
) iter.Seq2[string, error] {
	return pages(func(token string) ([]string, string, error) {
		request := clone(request)
		request.PageToken = token
		page, err := call(ctx, c, c.registries.ListTags, request)
		return page.GetTags(), page.GetNextPageToken(), err
	})
}

// ResolveReference asks a registry what a reference points at.
func (c *Client) ResolveReference(
	ctx context.Context, request *imgdv1.ResolveReferenceRequest,
) (*imgdv1.ResolveReferenceResponse, error) {
	return call(ctx, c, c.registries.ResolveReference, request)
}
